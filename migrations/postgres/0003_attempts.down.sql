DROP TABLE todoctl_attempts;
