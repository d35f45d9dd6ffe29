// Package ul implements the DICOM upper layer over TCP (PS3.8 §9), as acceptor and as requestor.
//
//	pdu.go, item.go   PDUs and their items: bounded decoding, encoding
//	userinfo.go       user items: window, roles, extended negotiation
//	identity.go       user identity
//	transport.go      TLS, and errors for other protocols used on a port by mistake
//	table.go          the state table, PS3.8 Table 9-10, as data
//	assoc.go          an association: executes the table
//	end.go            release, abort, loss of the connection
//	wire.go           deadlines on the connection
//	stream.go         P-DATA in both directions, fragment by fragment, never a whole PDU in memory
//	negotiate.go      presentation contexts and roles: what is proposed and what is supported
//	error.go          errors, and texts for rejections and aborts
//
// One goroutine reads from an association and runs it. Abort and Interrupt may be called from any goroutine.
package ul
