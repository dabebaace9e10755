/** The client program: composition only. */
console.log("berth");
