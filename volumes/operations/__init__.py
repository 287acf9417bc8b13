"""What can be done with a volume, each declared once; volumes/apps.py imports them all."""
