// Package probe tries every path from this machine to a server, as a browser
// would take them, and says which work: name, port, certificate, HTTP,
// signalling, clock, and each way for media alone, with sound and picture sent
// to the server and back. It is the self-test of the web client for a shell.
//
// Nothing of it is a call: media goes through a room of its own (POST
// /v1/precheck), which is neither recorded nor announced; the outcome is stored
// at the server as precheck.completed.
//
// probe.go has the order of the steps; each step is in a file of its name.
package probe
