"""Fresh policies under a frozen learned loss, and PPO beside them: what is lived, what is made of it, and how it is shown."""
