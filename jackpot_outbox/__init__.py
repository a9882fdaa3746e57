"""The loss-free client of a jackpot server, for any wallet; knows neither spins nor pools."""
