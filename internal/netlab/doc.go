// Package netlab builds small networks out of Linux network namespaces, to see
// whether calls work behind the routers and firewalls that people have:
//
//	client ── router ──(narrow or bad link)── edge ── server
//
// A Lab is one such network in one of the Profiles. Everything lives in
// namespaces that the lab makes and removes; nothing outside of them changes.
// Namespaces are named after the process that made them, so that the next lab
// finds and removes what a crashed one left behind.
//
// The package knows nothing of calls: those are in netlab/trial. It needs root,
// iproute2, nftables and conntrack.
package netlab
