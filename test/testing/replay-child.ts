import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { runOnce } from '../../src/testing/run-twice.ts'
import { ring } from '../../src/testing/topology.ts'

/** Plays one seed with post-quantum keys and prints the digest: what a second process must print too. */
const { digest } = await runOnce(
  async (sim) => {
    const nodes = await sim.nodes(6)
    const names = nodes.map(({ name }) => name)
    sim.connect(ring(names), { latencyMs: 20, jitterMs: 10, loss: 0.05 })
    await sim.run({ forMs: 15_000 })
  },
  { seed: Number(process.argv[2]), signMldsa: (seed, message) => ml_dsa65.sign(message, ml_dsa65.keygen(seed).secretKey, { extraEntropy: false }) },
)
process.stdout.write(digest)
