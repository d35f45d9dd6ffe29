"""C-ECHO and C-STORE with pynetdicom over TLS with a user identity, a window of 4 and both roles offered.

usage: secure_send.py HOST PORT CA CERTIFICATE KEY USERNAME PASSCODE FILE
Prints each status as four hex digits, then the items of the acceptance that are of interest; "not associated" if that is so.
"""
import ssl
import sys

from pydicom import dcmread
from pynetdicom import AE, build_role
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, UserIdentityNegotiation
from pynetdicom.sop_class import Verification

host, port, ca, cert, key, username, passcode, path = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
d = dcmread(path)
window = AsynchronousOperationsWindowNegotiation()
window.maximum_number_operations_invoked = 4
window.maximum_number_operations_performed = 4
identity = UserIdentityNegotiation()
identity.user_identity_type = 2
identity.positive_response_requested = True
identity.primary_field, identity.secondary_field = username.encode(), passcode.encode()
ae = AE(ae_title="PYNETDICOM")
ae.add_requested_context(Verification)
ae.add_requested_context(d.SOPClassUID, d.file_meta.TransferSyntaxUID)
role = build_role(d.SOPClassUID, scu_role=True, scp_role=True)
assoc = ae.associate(host, int(port), ae_title="ICHOR", ext_neg=[window, role, identity], tls_args=(context, "localhost"))
if not assoc.is_established:
    print("not associated")
    sys.exit()
print("%04X" % assoc.send_c_echo().Status)
print("%04X" % assoc.send_c_store(d).Status)
print("window", *assoc.acceptor.asynchronous_operations)
print("identity", "confirmed" if assoc.acceptor.user_identity else "unanswered")
print("role", *[(r.scu_role, r.scp_role) for r in assoc.acceptor.role_selection.values()][0])
assoc.release()
assert assoc.is_released, "not released"
