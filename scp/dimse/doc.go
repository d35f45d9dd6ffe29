// Package dimse exchanges DIMSE messages over an association (PS3.7): command sets, data sets as
// streams, status codes, and the requests that this node makes of others (SCU: C-ECHO, C-STORE).
package dimse
