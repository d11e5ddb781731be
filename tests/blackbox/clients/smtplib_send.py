"""Sends each file named with Python's smtplib over one connection.

usage: smtplib_send.py HOST PORT FROM TO FILE...   prints the server's reply to each end of data, one a line
"""

import smtplib
import sys


def main():
    host, port, reverse_path, forward_path, *files = sys.argv[1:]
    with smtplib.SMTP(host, int(port), local_hostname="client.example", timeout=60) as client:
        client.ehlo()
        for name in files:
            with open(name, "rb") as file:
                text = file.read()
            options = ["SIZE=%d" % len(text)] if client.has_extn("size") else []
            if client.has_extn("8bitmime"):
                options.append("BODY=8BITMIME")
            answer(client.mail(reverse_path, options))
            answer(client.rcpt(forward_path))
            # `data` doubles the dots and ends the message; it leaves bytes as they are otherwise.
            print(answer(client.data(text)))


def answer(reply):
    code, text = reply
    if code != 250:
        sys.exit("%d %s" % (code, text.decode()))
    return "%d %s" % (code, text.decode())


main()
