import { transportCompliance } from './compliance.ts'
import { memorySetup, setup } from './setups/memory.ts'

transportCompliance('memory', setup, new URL('./setups/memory.ts', import.meta.url))
transportCompliance('memory with latency', memorySetup({ latencyMs: 1 }), new URL('./setups/memory.ts', import.meta.url))
