package s3store

import (
	"errors"
	"sync"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// keys are an access key and its secret, which may change while requests are
// under way. It implements [credentials.Provider] and is safe for concurrent
// use.
type keys struct {
	credentials *credentials.Credentials // asks us

	mu    sync.Mutex
	value credentials.Value
}

func newKeys(access, secret string) *keys {
	k := &keys{}
	k.credentials = credentials.New(k)
	k.set(access, secret)
	return k
}

func (k *keys) set(access, secret string) {
	k.mu.Lock()
	k.value = credentials.Value{AccessKeyID: access, SecretAccessKey: secret, SignerType: credentials.SignatureV4}
	k.mu.Unlock()
	k.credentials.Expire()
}

// Retrieve implements [credentials.Provider].
func (k *keys) Retrieve() (credentials.Value, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.value, nil
}

// RetrieveWithCredContext implements [credentials.Provider].
func (k *keys) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return k.Retrieve()
}

// IsExpired implements [credentials.Provider]: set says when they are.
func (k *keys) IsExpired() bool { return false }

// SetKeys takes another access key and secret. Requests that are under way keep
// what they were signed with.
func (s *Store) SetKeys(access, secret string) error {
	if access == "" || secret == "" {
		return errors.New("s3: access key and secret key are required")
	}
	s.keys.set(access, secret)
	return nil
}
