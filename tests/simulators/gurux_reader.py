"""A client with Gurux' own framing, in a process of its own: prints the value of one register.

Arguments: port, link (wrapper or hdlc), referencing (ln or sn), mode (none, lls, gmac, gmac-ciphered).
"""

import contextlib
import io
import socket
import sys

from gurux_dlms import GXReplyData
from gurux_dlms.enums import Authentication, InterfaceType, Security
from gurux_dlms.objects import GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

port, link, names, mode = sys.argv[1:]
level = {"none": Authentication.NONE, "lls": Authentication.LOW}.get(mode, Authentication.HIGH_GMAC)
kind = InterfaceType.WRAPPER if link == "wrapper" else InterfaceType.HDLC
client = GXDLMSSecureClient(names == "ln", 1, 1, level, b"12345678" if mode == "lls" else None, kind)
if mode.startswith("gmac"):
    client.ciphering.systemTitle = b"GURUX001"
    client.ciphering.blockCipherKey = bytearray(range(16))
    client.ciphering.authenticationKey = bytearray(range(16, 32))
if mode == "gmac-ciphered":
    client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
connection = socket.create_connection(("127.0.0.1", int(port)), 10)


def once(message, reply):
    connection.sendall(bytes(message))
    received = bytearray()
    while True:
        received += connection.recv(4096)
        if client.getData(bytes(received), reply, None):
            return


def ask(messages):
    reply = GXReplyData()
    for message in messages if isinstance(messages, list) else [messages]:
        if message:
            once(message, reply)
        while reply.isMoreData():
            once(client.receiverReady(reply), reply)
    return reply


with contextlib.redirect_stdout(io.StringIO()):
    start = client.snrmRequest()
    if start:
        client.parseUAResponse(ask(start).data)
    client.parseAareResponse(ask(client.aarqRequest()).data)
    if client.isAuthenticationRequired:
        client.parseApplicationAssociationResponse(ask(client.getApplicationAssociationRequest()).data)
    register = GXDLMSRegister("1.0.16.7.0.255", 0 if names == "ln" else 29488)
    value = ask(client.read(register, 2)).value
    ask(client.disconnectRequest())
print(int(value))
