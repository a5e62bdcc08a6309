"""What node and coordinator say to each other, and the audit record, without sockets."""
