/** How things stand, and who is signed in. */
export {};
