import { transportCompliance } from './compliance.ts'
import { memorySetup, setup } from './setups/memory.ts'
import { setup as secureSetup } from './setups/memory-secure.ts'

transportCompliance('memory', setup, new URL('./setups/memory.ts', import.meta.url))
transportCompliance('memory with latency', memorySetup({ latencyMs: 1 }), new URL('./setups/memory.ts', import.meta.url))
transportCompliance('memory, secure', secureSetup, new URL('./setups/memory-secure.ts', import.meta.url))
