"""The page under /app: its files, routes, users and turns."""
