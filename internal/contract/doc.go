// Package contract has no code: its tests hold the program to what its users
// rely on. They build the binary, run it as a child process and talk to it as
// the medical information system, a browser and a device do: over HTTP, the
// WebSocket and WebRTC. Tokens are signed and webhooks are verified here
// without the code that is under test.
package contract
