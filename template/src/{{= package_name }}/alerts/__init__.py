"""When somebody is called: the rules of Prometheus, written from the scope."""
