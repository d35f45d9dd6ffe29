// Package dimse exchanges DIMSE messages over an association (PS3.7): command sets, data sets as streams, status codes, and
// the requests that this node sends as SCU (C-ECHO, C-STORE, C-FIND, N-ACTION, N-EVENT-REPORT).
package dimse
