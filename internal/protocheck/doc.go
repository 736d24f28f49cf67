// Package protocheck has no code: its test holds the messages of the web
// client (web/static/js/client/messages.js) to those of package signaling.
// Neither package may import the other, so the test lives beside both.
package protocheck
