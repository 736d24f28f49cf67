// Package certs is where the server's TLS certificate comes from: files that
// are replaced while it serves ([Files]) or an ACME authority ([ACME], RFC
// 8555). For closed networks, where no public authority can help, [Authority]
// is a small one whose certificates are limited to the names and addresses of
// one hospital (name constraints, RFC 5280 section 4.2.1.10).
//
// The package is a leaf: it imports nothing of ours but package metrics.
package certs
