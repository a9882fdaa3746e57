"""What the servers stand on: group commit, money, database, errors, server life cycle.

It knows neither spins nor jackpots.
"""
