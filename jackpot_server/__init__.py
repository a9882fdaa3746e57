"""The jackpot server: records contributions, decides wins, shows pools."""
