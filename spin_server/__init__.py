"""The spin server: settles spins and keeps players' wallets; answers once the transaction has committed."""
