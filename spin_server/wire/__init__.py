"""Protobuf to domain and back: what a request may hold, how a fact is shown. Protos stop here."""
