"""Django's backend for PostgreSQL with bounded waits. `settings` names it."""
