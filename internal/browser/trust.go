package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// install puts the authority of o.Trust into the certificate store that the
// browser reads: Firefox's is in its profile, Chromium's in the home, which is
// the profile too.
func install(ctx context.Context, o Options, profile string) error {
	if o.Trust == "" {
		return nil
	}
	certutil, err := find("libnss3-tools", "certutil")
	if err != nil {
		return err
	}
	store := profile
	if o.Kind == Chromium {
		store = filepath.Join(profile, ".pki", "nssdb")
		if err := os.MkdirAll(store, 0o700); err != nil {
			return fmt.Errorf("make certificate store: %w", err)
		}
	}
	for _, args := range [][]string{
		{"-N", "--empty-password"},
		{"-A", "-t", "C,,", "-n", "authority", "-i", o.Trust},
	} {
		out, err := exec.CommandContext(ctx, certutil, append([]string{"-d", "sql:" + store}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("install %s: %w: %s", o.Trust, err, out)
		}
	}
	return nil
}
