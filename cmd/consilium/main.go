// Command consilium holds a hospital's video consultations: it serves the call,
// records it and tells the medical information system about it.
//
// main only connects the operating system with a program; commands.go lists
// the commands, each of which is in a file of its name.
package main

import (
	"context"
	"os"
)

func main() {
	p := &program{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), newServer: newServer}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}
