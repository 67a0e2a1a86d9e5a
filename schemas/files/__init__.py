"""Files that a command or a server makes: closed to others, or a person's output, whole or not at all."""
