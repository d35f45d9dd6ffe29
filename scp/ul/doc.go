// Package ul is the DICOM upper layer over TCP (PS3.8 §9), both as acceptor and as requestor.
//
//	pdu.go, item.go   PDUs and their items: bounded decoding, encoding
//	userinfo.go       user items: window, roles, extended negotiation
//	identity.go       user identity
//	transport.go      TLS, and what else may be spoken on a port by mistake
//	table.go          the state table, PS3.8 Table 9-10, as data
//	assoc.go          an association: executes the table
//	end.go            release, abort, loss of the connection
//	wire.go           deadlines on the connection
//	stream.go         P-DATA in and out, fragment by fragment, never a whole PDU in memory
//	negotiate.go      presentation contexts and roles: what is asked against what is supported
//	error.go          rejections and aborts in words
//
// An association is driven by the goroutine that reads from it. Abort and Interrupt may come from
// any goroutine.
package ul
