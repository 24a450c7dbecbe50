"""The whole path in one command: a server, a consumer, a listener and a load."""
