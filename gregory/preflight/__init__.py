"""What an installation needs before anything is trained, looked at piece by piece: findings, each with a remedy. Nothing is changed."""
