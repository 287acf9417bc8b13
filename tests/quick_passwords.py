from django.contrib.auth.hashers import Argon2PasswordHasher


class QuickArgon2(Argon2PasswordHasher):
    """As the product's, and readable by it, but at a small part of its work: tests sign in hundreds of times."""

    time_cost = 1
    memory_cost = 64
    parallelism = 1
