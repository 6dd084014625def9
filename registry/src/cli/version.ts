/** Our version, and that of the Consul whose API we speak: what clients that look at a version must see. */
export const rollcallVersion = '0.1.0'
export const consulVersion = '1.8.7'
