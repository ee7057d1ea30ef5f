"""Fresh policies trained with a frozen learned loss, and with PPO: settings, workers, figures, table, file and plot."""
