DROP TABLE todoctl_identity;
