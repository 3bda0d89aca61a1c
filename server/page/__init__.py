"""The page under /app: its routes, who may use them, and its turns."""
