"""What answers over HTTP have in common, whoever gives them: errors, metrics, descriptions, sockets."""
