DROP TABLE todoctl_idempotency_keys;
