package attack

import (
	"os"
	"testing"

	"consilium/internal/testserver"
)

// program is the one under attack, built by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(testserver.Main(m, func(path string) { program = path }))
}
