"""The names that users rely on, as each release has them: one file of JSON each."""
