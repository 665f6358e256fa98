import { transportCompliance } from './compliance.ts'
import { setup } from './setups/wss.ts'

transportCompliance('wss', setup, new URL('./setups/wss.ts', import.meta.url))
