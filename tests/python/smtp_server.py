"""A mail server for tests: aiosmtpd with TLS, authentication, and a file that says how to misbehave.

Messages go to DIR/<n>.eml with their receivers in DIR/<n>.rcpt. DIR/behave holds one word:
ok, rcpt-4xx, rcpt-5xx, data-4xx, data-5xx, hangup (at DATA), hangup-after (taken, but nothing is answered), silent.
"""
import argparse, asyncio, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

arguments = argparse.ArgumentParser()
arguments.add_argument("--dir", required=True)
arguments.add_argument("--tls", choices=["starttls", "implicit", "none"], required=True)
arguments.add_argument("--cert")
arguments.add_argument("--key")
arguments.add_argument("--user")
arguments.add_argument("--password")
arguments.add_argument("--port", type=int, default=0)
given = arguments.parse_args()
os.makedirs(given.dir, exist_ok=True)
count = len([name for name in os.listdir(given.dir) if name.endswith(".eml")])


def behaviour():
    try:
        return open(os.path.join(given.dir, "behave")).read().strip()
    except FileNotFoundError:
        return "ok"


def keep(envelope):
    global count
    for end, content in ((".rcpt", "\n".join(envelope.rcpt_tos).encode()), (".eml", envelope.content)):
        path = os.path.join(given.dir, f"{count:04}{end}")
        with open(path + ".tmp", "wb") as file:
            file.write(content)
        os.rename(path + ".tmp", path)
    count += 1


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        how = behaviour()
        if how == "rcpt-4xx":
            return f"450 4.2.1 <{address}> is busy"
        if how == "rcpt-5xx":
            return f"550 5.1.1 <{address}> is not known here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        how = behaviour()
        if how == "data-4xx":
            return "451 4.3.0 later"
        if how == "data-5xx":
            return "554 5.7.1 not this"
        if how == "silent":
            await asyncio.sleep(3600)
        if how == "hangup":
            server.transport.abort()
            return "421 bye"
        keep(envelope)
        if how == "hangup-after":
            server.transport.abort()
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (
        given.user.encode(),
        given.password.encode(),
    )
    return AuthResult(success=good, handled=good, message=None if good else "535 5.7.8 who are you")


def context():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(given.cert, given.key)
    return tls


async def main():
    options = dict(hostname="localhost", enable_SMTPUTF8=True, loop=asyncio.get_running_loop())
    if given.user:
        options.update(authenticator=authenticate, auth_required=True, auth_require_tls=given.tls == "starttls")
    if given.tls == "starttls":
        options.update(tls_context=context(), require_starttls=True)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Handler(), **options),
        "127.0.0.1",
        given.port,
        ssl=context() if given.tls == "implicit" else None,
    )
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
