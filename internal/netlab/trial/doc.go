// Package trial holds calls in the networks of netlab: a doctor beside the
// server, a patient behind the network that is tried, who is a Pion client or a
// real browser, and a receiver of webhooks. It measures who sees and hears whom
// after how long, by which path, and what is said where there is no path.
//
// Servers and Pion clients are processes in the namespaces: Go programs of this
// repository, built by Build.
package trial
