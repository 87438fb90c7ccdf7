"""Where frames come from: films, pictures, folders, pipes, cameras, network streams."""
