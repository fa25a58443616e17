"""What tests of every tier share: the ordinary user, the tools, the guard of the unit tests."""
