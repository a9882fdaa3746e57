"""What the spin server decides, as pure functions: no database, no clock, no randomness, no protobuf."""
