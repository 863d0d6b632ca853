// Command interop answers, with the Go implementations of tlog and of C2SP notes, what the tests ask of it.
//
// It reads one JSON request on standard input and writes one JSON answer. Byte strings are base64.
//
//	tree         leaves            → the root of every prefix, and all inclusion and consistency proofs
//	open         note, keys        → text, and the names whose signatures are good
//	sign         text, keys        → a note signed with each key (0x01) and cosigned with each (0x04)
package main

import (
	"encoding/base64"
	"encoding/json"
	"log"
	"os"
	"strings"

	cosigned "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type request struct {
	Do     string
	Leaves [][]byte
	Note   []byte
	Text   string
	Keys   []string
	Cosign []string
}

type answer struct {
	Roots       []tlog.Hash
	Inclusion   map[int64][]tlog.RecordProof // by size, then index
	Consistency map[int64][]tlog.TreeProof   // by second size, then first size from one
	Note        []byte
	Text        string
	Names       []string
}

func main() {
	log.SetFlags(0)
	var asked request
	check(json.NewDecoder(os.Stdin).Decode(&asked))
	var given answer
	switch asked.Do {
	case "tree":
		given = tree(asked.Leaves)
	case "open":
		given = open(asked)
	case "sign":
		given = sign(asked)
	default:
		log.Fatalf("unknown request %q", asked.Do)
	}
	check(json.NewEncoder(os.Stdout).Encode(given))
}

func tree(leaves [][]byte) answer {
	given := answer{Inclusion: map[int64][]tlog.RecordProof{}, Consistency: map[int64][]tlog.TreeProof{}}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	for n, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(n), leaf, reader)
		check(err)
		stored = append(stored, hashes...)
		size := int64(n) + 1
		root, err := tlog.TreeHash(size, reader)
		check(err)
		given.Roots = append(given.Roots, root)
		for index := range size {
			inclusion, err := tlog.ProveRecord(size, index, reader)
			check(err)
			given.Inclusion[size] = append(given.Inclusion[size], inclusion)
			consistency, err := tlog.ProveTree(size, index+1, reader)
			check(err)
			given.Consistency[size] = append(given.Consistency[size], consistency)
		}
	}
	return given
}

func open(asked request) answer {
	var known []note.Verifier
	for _, key := range asked.Keys {
		known = append(known, verifier(key))
	}
	opened, err := note.Open(asked.Note, note.VerifierList(known...))
	check(err)
	given := answer{Text: opened.Text}
	for _, signature := range opened.Sigs {
		given.Names = append(given.Names, signature.Name)
	}
	return given
}

// verifier understands keys of type 0x01 and of type 0x04; the first byte of the key says which.
func verifier(key string) note.Verifier {
	parts := strings.SplitN(key, "+", 3)
	material, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	check(err)
	if len(material) > 0 && material[0] == 4 {
		made, err := cosigned.NewVerifierForCosignatureV1(key)
		check(err)
		return made
	}
	made, err := note.NewVerifier(key)
	check(err)
	return made
}

func sign(asked request) answer {
	var signers []note.Signer
	for _, key := range asked.Keys {
		made, err := note.NewSigner(key)
		check(err)
		signers = append(signers, made)
	}
	for _, key := range asked.Cosign {
		made, err := cosigned.NewSignerForCosignatureV1(key)
		check(err)
		signers = append(signers, made)
	}
	signed, err := note.Sign(&note.Note{Text: asked.Text}, signers...)
	check(err)
	return answer{Note: signed}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
