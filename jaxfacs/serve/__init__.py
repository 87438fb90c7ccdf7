"""The server: films and live frames of many people, answered by one network."""
