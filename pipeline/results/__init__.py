"""What a backtest leaves, whichever engine made it: one contract, its record, and whether its parts agree."""
