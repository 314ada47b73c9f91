"""The dashboard: one page that shows what a daemon knows, as it changes. It reads, and changes
nothing.

    access    who may look: by host, origin, user and token
    board     what there is to see: bounded sections of plain data, of the facts that the verbs of
              the command line print
    history   who has led and who was elected, as far as this daemon has seen it
    feed      which section goes to whom, and when
    serving   HTTP, and the page's own files

Only `serving` knows the HTTP server, which the extra `dashboard` brings.
"""
