"""The robots: one file each, or one for those that share their form."""
